"""The rows of the fault table: each a function that strikes for real and gives back what became of the study."""

from __future__ import annotations

from tests.faults.result import Row
from tests.faults.rows import database, disk, files, killed, ray_rows, trials

ROWS: dict[str, tuple[str, Row]] = {
    row.__name__: (title, row)
    for title, row in (
        ("driver killed (SIGKILL) at random moments", killed.driver_killed),
        ("driver asked to end (SIGTERM)", killed.driver_asked_to_end),
        ("power cut between any two writes", killed.power_cut),
        ("disk full while training", disk.full_while_training),
        ("disk full in writing the views", disk.full_in_the_views),
        ("disk full when the database writes", disk.full_in_the_database),
        ("disk turns read-only", disk.read_only),
        ("database locked for 4 s", database.locked_for_a_while),
        ("database locked for good", database.locked_for_good),
        ("database server restarted (PostgreSQL)", database.server_restarted),
        ("connections to the server dropped", database.connection_dropped),
        ("database server turns read-only", database.server_read_only),
        ("two drivers at once", database.two_drivers),
        ("space edited under a running study", database.space_edited),
        ("clock steps back by a day", trials.clock_steps_back),
        ("NaN from a loss", trials.not_a_number_in_training),
        ("objective is NaN", trials.objective_is_nan),
        ("objective is infinite", trials.objective_is_infinite),
        ("objective missing", trials.objective_missing),
        ("trial hangs", trials.hangs),
        ("host out of memory: an allocation fails", trials.host_out_of_memory),
        ("host out of memory: more than a trial may take", trials.eats_memory),
        ("CUDA out of memory (simulated)", trials.cuda_out_of_memory),
        ("checkpoints truncated", files.corrupt_checkpoint),
        ("trial folders deleted", files.trial_folders_deleted),
        ("model of a complete trial truncated", files.model_truncated),
        ("front.json and trials.jsonl half-written", files.views_half_written),
        ("worker killed (SIGKILL), on Ray", ray_rows.worker_killed),
        ("driver killed (SIGKILL), on Ray", ray_rows.driver_killed_on_ray),
        ("driver asked to end (SIGTERM), on Ray", ray_rows.asked_to_end),
        ("raylet killed", ray_rows.raylet_killed),
        ("second node killed under running trials", ray_rows.node_killed),
        ("Tune's own state deleted", ray_rows.state_deleted),
    )
}
"""By the name of the function: the title in the table, and the row."""

FAST = (
    "driver_killed",
    "driver_asked_to_end",
    "power_cut",
    "full_in_the_views",
    "full_in_the_database",
    "objective_is_nan",
    "objective_missing",
    "cuda_out_of_memory",
    "corrupt_checkpoint",
    "views_half_written",
)
"""Those in ``make test``, with fewer kills and cuts; ``make faults`` runs all."""
