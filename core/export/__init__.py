"""Everything an instance knows, out of one database and into another."""
