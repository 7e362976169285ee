"""Show values in a terminal: tables and live bars on a screen, plain lines in a pipe. No decisions are made here."""
