"""``careamist run``: a job file, carried out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from careamist.cli_options import FIRST, Command, report
from careamist.config.job import load_job


class Run(Command):
    """Do what a job file orders: train, predict, or both."""

    job: Path = Field(
        description="A job file (.yml), as the plugin writes it.", json_schema_extra=FIRST
    )

    def run(self) -> int:
        """Run the job; an interrupt keeps what is done so far."""
        job = load_job(self.job)
        from careamist.run_job import run_job

        done = run_job(job)
        words = f"Results: {done.folder}" if done.folder else "No model."
        return report(done.careamist, words)
