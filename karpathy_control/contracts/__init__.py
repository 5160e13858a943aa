"""Types, configuration, interface table, geometry, safe reading of files; numpy and YAML only."""
