"""What this machine gives: space on its disks, memory for its processes."""
