"""The sample data: people that segtrain draws itself."""
