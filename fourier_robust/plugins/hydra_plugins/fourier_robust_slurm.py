"""``hydra/launcher=slurm``: the submitit launcher, but one that outlives its jobs.

Found by Hydra, which takes launchers from the package ``hydra_plugins`` alone. Without the extra ``slurm`` it is empty.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus

from fourier_robust.errors import UserError
from fourier_robust.run.queue import refusal, wait
from fourier_robust.run.sweep import Jobs

with contextlib.suppress(ImportError):
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

    class PatientSlurmLauncher(SlurmLauncher):
        """Submits a sweep as one job array and waits for all of it, whatever becomes of single jobs.

        What became of a job is what it has noted itself (`Jobs`); its pickled result is not opened.

        Deviates: the launcher that it extends raises at the first job that left no result while others run on, and on a
        cluster without accounting waits for ever for a job that was killed.
        """

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Submit, wait, and note as lost what ended without a word.

            Raises:
                UserError: there is no SLURM here, or it refuses the jobs.
            """
            import submitit

            if shutil.which("sbatch") is None:
                raise UserError("hydra/launcher=slurm: no sbatch here; start the sweep where jobs can be submitted")
            assert self.config is not None
            folder = Path(str(self.config.hydra.sweep.dir))
            jobs = Jobs(folder)
            numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
            tasks = [[one for one in some if not one.startswith(("hydra.", "hydra/"))] for some in job_overrides]
            for number, task in zip(numbers, tasks, strict=True):
                jobs.note(number, "waiting", task)  # before its job can say more
            state = Singleton.get_state()
            count = len(numbers)
            of_each = (numbers, [f"job_id_for_{number}" for number in numbers])
            try:
                handles = self._executor().map_array(
                    self, [list(some) for some in job_overrides], ["hydra.sweep.dir"] * count, *of_each, [state] * count
                )
            except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
                for number, task in zip(numbers, tasks, strict=True):
                    jobs.note(number, "failed", task, reason="never submitted")
                raise UserError(f"hydra/launcher=slurm: {refusal(error)}") from error
            array = handles[0].job_id.split("_")[0]
            print(
                f"submitted to SLURM as {array}, jobs: {count}; their output: {folder / '.submitit'}", file=sys.stderr
            )
            try:
                wait({handle.job_id: handle.paths.result_pickle for handle in handles})
            except KeyboardInterrupt:
                print(f"the jobs stay with SLURM (`scancel {array}` ends them)", file=sys.stderr)
                raise
            noted = {one["job"]: one["state"] for one in jobs.all()}
            for number, task, handle in zip(numbers, tasks, handles, strict=True):
                if noted.get(number, "waiting") in ("waiting", "running"):
                    reason = f"it ended without a word; its output: {handle.paths.stderr}"
                    jobs.note(number, "lost", task, reason=reason)
            return [JobReturn(overrides=task, status=JobStatus.COMPLETED) for task in tasks]

        def _executor(self) -> Any:
            import submitit

            settings = dict(self.params)
            folder, again = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
            executor = submitit.AutoExecutor(cluster="slurm", folder=folder, slurm_max_num_timeout=again)
            of_all = BaseQueueConf.__dataclass_fields__
            executor.update_parameters(
                **{key if key in of_all else f"slurm_{key}": value for key, value in settings.items()}
            )
            return executor
