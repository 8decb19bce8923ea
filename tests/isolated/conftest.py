"""What lies here runs in environments of its own (`tests.support.environments`), never in the suite's."""

collect_ignore_glob = ["*"]
