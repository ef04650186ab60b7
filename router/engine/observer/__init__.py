"""What traces see of the packets that are decided on: nothing is decided here."""
