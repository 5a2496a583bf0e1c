"""One file per command or family of commands: parse, call, print. ``cli`` holds the table that finds them."""
