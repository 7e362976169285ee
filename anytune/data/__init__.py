"""The user's files: checked, mended, converted, split, counted; nothing here needs a network or a key."""
