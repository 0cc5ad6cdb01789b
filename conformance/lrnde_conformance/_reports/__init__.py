"""The forms that a report is printed and written in."""
