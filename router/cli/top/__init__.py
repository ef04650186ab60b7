"""`tunrouter top`: a screen that shows what the running router carries now.

    source     a thread that queries the router once a second: `status`, then `flows`
    model      snapshots -> View: rates, histories, loss; time is an argument          pure
    choice     which flows are shown, in which order                                   pure
    drawing    a View -> lines of text, for a width and a height                       pure
    explaining what is known of the flow under the cursor                              pure
    screen     the terminal and the keys, by textual
    command    checks the terminal, and the exit status

Always true: what comes from the router is shown with its control characters replaced, so a name in
the rules cannot control the terminal; a router that stops is named on the screen, and the next one
is shown when it answers. It changes nothing.
"""
