"""Check, and later convert and split, the user's files; nothing here needs a network or a key."""
