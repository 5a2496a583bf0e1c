"""The commands, one file per group of them; ``cli`` holds the table that finds them."""
