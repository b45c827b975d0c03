"""What a job is: its plain definition, its steps and parameters, and how it is loaded."""
