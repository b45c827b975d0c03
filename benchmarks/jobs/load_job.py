"""What any run of a job must do: import batten's engine and load the job."""

import sys

import batten.drive.run  # noqa: F401
from batten.jobs.loading.job_file import load_job
from batten.pipeline.pipeline import Pipeline

load_job(sys.argv[1], {}, Pipeline)
