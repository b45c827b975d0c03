"""What any run of a job must do: import batten's engine and load the job."""

import sys

import batten.engine.run  # noqa: F401
from batten.engine.job import load_job

load_job(sys.argv[1], {})
