"""The plan, the preflight, and the stages `spec -> locked -> fetched -> converted -> loaded`."""
