"""The report of a study: ratios with their intervals, tables, pictures."""
