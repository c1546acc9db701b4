"""keyturn's own files: paths, config, managed profiles, index, activity log, history."""
