"""What joins the two halves: the whole way in one command, and the report."""
