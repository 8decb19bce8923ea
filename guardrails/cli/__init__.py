"""The command line: `guardrails.cli.main` loads each command's module when it is called."""
