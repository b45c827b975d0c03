"""Where work runs: in this process, in threads, in processes. They know nothing of pipelines."""
