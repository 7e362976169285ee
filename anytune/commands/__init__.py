"""The verbs by theme; each parses, calls the façade and shows. Heavy imports wait until a verb runs."""
