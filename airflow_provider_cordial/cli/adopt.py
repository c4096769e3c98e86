"""``airflow cordial adopt``: give a task whose submission is uncertain its job."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import action_cli
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_cordial.cli.command import command
from airflow_provider_cordial.cli.output import write_json, write_record
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError, InvalidParameterError
from airflow_provider_cordial.exports.decision import Record
from airflow_provider_cordial.exports.identity import TaskKey, parse_generation
from airflow_provider_cordial.exports.submission import CONF_KEY, STATE_KEY
from airflow_provider_cordial.hooks.cordial import CordialHook

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session

#: The states in which a task has given up, or is about to try again.
_ADOPTABLE = ("failed", "up_for_retry")


@command
@action_cli(check_db=False)  # type: ignore[no-untyped-call,untyped-decorator,misc,unused-ignore]
def adopt(args: Namespace) -> None:
    """Write the job id to the conf of the run, and clear the task."""
    key = TaskKey(args.dag_id, args.run_id, args.task_id, -1 if args.map_index is None else args.map_index)
    job = find_job(CordialHook(args.cordial_conn_id), args.job_id)
    try:
        with create_session() as session:
            cleared = give_job(session, key, job)
    except SQLAlchemyError as error:
        # Only the class: the text may contain the address of the database.
        msg = f"Airflow's database cannot be read or written: {type(error).__name__}. Run the command where it can be."
        raise CordialError(msg) from None
    result = {**key._asdict(), "job_id": job.id, "status": job.status, "export": job.name, "cleared": cleared}
    if args.output == "json":
        write_json(result)
    else:
        write_record(result)


def find_job(hook: CordialHook, job_id: str) -> Job:
    """Return the job to resume.

    :raises InvalidParameterError: it Failed, or is not an export.
    :raises CordialError: it cannot be polled.
    """
    job = hook.get_job(job_id)
    if not job.may_be_export:
        msg = f"Invalid job_id {job_id!r}: it is a job of type {job.record.get('jobName')!r}, not an export."
        raise InvalidParameterError(msg)
    if job.is_failed:
        msg = f"Invalid job_id {job_id!r}: the job Failed, and has no file. Clear the task, which exports again."
        raise InvalidParameterError(msg)
    return job


def give_job(session: Session, key: TaskKey, job: Job) -> list[str]:
    """Name the job in the conf of the run, clear the task, and return the ids of the cleared tasks.

    The tasks that failed because of it (``upstream_failed``) are cleared as well, so that the run continues.

    :raises InvalidParameterError: the task instance does not exist, has not failed, or submitted another export.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance, clear_task_instances

    of_run = select(TaskInstance).where(TaskInstance.dag_id == key.dag_id, TaskInstance.run_id == key.run_id)
    instances = session.scalars(of_run).all()
    task = _find_instance(instances, key)
    if task.state not in _ADOPTABLE:
        msg = (
            f"Task {key.task_id!r} of run {key.run_id!r} is {task.state or 'not started'}: only a task that has failed "
            "can adopt a job."
        )
        raise InvalidParameterError(msg)
    run = session.scalars(select(DagRun).where(DagRun.dag_id == key.dag_id, DagRun.run_id == key.run_id)).one()
    record = _read_record(session, key)
    if record and job.name and not parse_generation(job.name, record.name):
        msg = f"Invalid job_id {job.id!r}: it is the job of export {job.name!r}, not of {record.name!r}."
        raise InvalidParameterError(msg)
    run.conf = _add_job(run.conf, key, job.id)
    others = [one for one in instances if one.state == "upstream_failed"]
    clear_task_instances([task, *others], session)
    return [one.task_id for one in (task, *others)]


def _find_instance(instances: Any, key: TaskKey) -> TaskInstance:
    same_task = [one for one in instances if one.task_id == key.task_id]
    found: TaskInstance | None = next((one for one in same_task if one.map_index == key.map_index), None)
    if found is None:
        reason = f"Task {key.task_id!r} of DAG {key.dag_id!r}, run {key.run_id!r} does not exist"
        if same_task and key.map_index < 0:
            reason = f"Task {key.task_id!r} is mapped: set --map-index"
        elif same_task:
            reason = f"Task {key.task_id!r} has no map index {key.map_index}: correct or remove --map-index"
        msg = f"{reason}."
        raise InvalidParameterError(msg)
    return found


def _add_job(conf: Any, key: TaskKey, job_id: str) -> dict[str, Any]:
    """Return the conf of a run with the job of a task; see the operator's ``job_id``."""
    conf = dict(conf or {})
    by_task = dict(conf.get(CONF_KEY) or {})
    by_task[key.task_id] = job_id if key.map_index < 0 else {**_mapping(by_task, key), str(key.map_index): job_id}
    return {**conf, CONF_KEY: by_task}


def _mapping(by_task: dict[str, Any], key: TaskKey) -> dict[str, Any]:
    known = by_task.get(key.task_id)
    return known if isinstance(known, dict) else {}


def _read_record(session: Session, key: TaskKey) -> Record | None:
    """Return what the task has recorded of its submission; None before Airflow 3.3, or in a store elsewhere."""
    try:
        from airflow.state import TaskScope, get_state_backend
    except ImportError:
        return None
    scope = TaskScope(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)
    stored = get_state_backend().get(scope, STATE_KEY, session=session)
    try:
        return Record.from_json(json.loads(stored or "null"))
    except ValueError:
        return None
