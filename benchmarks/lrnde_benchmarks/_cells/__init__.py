"""The cells of a study: trained, in worker processes, and kept in files."""
