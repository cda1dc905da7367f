"""This tool's own figures, beside those of other tools."""
