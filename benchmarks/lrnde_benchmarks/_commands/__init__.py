"""The commands `lrnde compare`, `lrnde benchmark` and the sweep, from their options to the files that they write."""
