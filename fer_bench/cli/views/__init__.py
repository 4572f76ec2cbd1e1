"""What commands show: renderables of rich."""
