"""What any run of a job must do: import batten's engine and load the job."""

import sys

import batten.engine.run  # noqa: F401
from batten.engine.job import load_job
from batten.engine.pipeline import Pipeline

load_job(sys.argv[1], {}, Pipeline)
