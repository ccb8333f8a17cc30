"""Files: limited readers, checked fields, checksums, appended lines, unsafe content."""
