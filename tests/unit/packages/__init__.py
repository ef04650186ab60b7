"""What packages are made of: scripts/deb, scripts/manual."""
