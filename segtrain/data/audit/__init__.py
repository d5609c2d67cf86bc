"""Dataset audit: a record of every file, findings derived from the records, and a cache of both."""
