"""`tunrouter completion`: what completes its command line in bash, zsh and fish.

    tree             the argparse parser as commands, options and what these can be
    bash, zsh, fish  the tree as a script for that shell
    values           names and numbers of the running router, which the scripts ask for
    command          what is printed

Always true: a script has every command and option that the parser has, since it is made from it;
what belongs to a running router is asked for when the user completes, and nothing is said where
none answers.
"""
