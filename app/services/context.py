"""AppContext: the services and stores of one installation, opened once per process."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from app.config import Settings
from app.core.budget import Budget
from app.core.catalog import Catalog
from app.core.client_slots import ClientSlots
from app.core.job import STOP_GRACE_SECONDS
from app.files.media_store import MediaStore
from app.files.open_store import open_media_store
from app.services.signed_urls import UrlSigner
from app.services.tuned_catalog import tuned_catalog
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.db.notify import Notifier, open_notifier
from app.store.db.upgrade_backup import UpgradeBackups
from app.store.media.lineage import LineageStore
from app.store.media.outputs import OutputStore
from app.store.media.owners import OwnerStore
from app.store.media.retention import RetentionStore
from app.store.media.selections import SelectionStore, TagStore
from app.store.ops.api_keys import ApiKeyStore
from app.store.ops.counters import CounterStore
from app.store.ops.device_faults import DeviceFaultStore
from app.store.ops.login_failures import LoginFailureStore
from app.store.ops.loras import LoraStore
from app.store.ops.memory_plans import MemoryPlanStore
from app.store.ops.periodic_tasks import PeriodicTaskStore
from app.store.ops.webhooks import WebhookStore
from app.store.queue.batch_changes import BatchChangeStore
from app.store.queue.batch_progress import BatchProgressStore
from app.store.queue.batches import BatchStore
from app.store.queue.claims import ClaimStore
from app.store.queue.deaths import DeathStore
from app.store.queue.device_refusals import DeviceRefusalStore
from app.store.queue.durations import DurationStore
from app.store.queue.jobs import JobStore
from app.store.queue.load_requests import LoadRequestStore
from app.store.queue.predictions import PredictionStore
from app.store.queue.previews import PreviewStore
from app.store.queue.rows import InputStore
from app.store.queue.stats import StatsStore
from app.store.queue.status_probe import StatusProbeStore
from app.store.queue.worker_capabilities import CapabilityStore
from app.store.queue.workers import WorkerStore

PIXELS_TIMEOUT_SECONDS = 10.0


@dataclass
class AppContext:
    """`settings` may be replaced at run time (app/services/ops/reload.py): read them anew each time."""

    settings: Settings
    catalog: Catalog
    database: Database
    jobs: JobStore
    claims: ClaimStore
    batches: BatchStore
    batch_changes: BatchChangeStore
    batch_progress: BatchProgressStore
    inputs: InputStore
    outputs: OutputStore
    lineage: LineageStore
    selections: SelectionStore
    tags: TagStore
    workers: WorkerStore
    capabilities: CapabilityStore
    speeds: DurationStore
    previews: PreviewStore
    predictions: PredictionStore
    counters: CounterStore
    device_faults: DeviceFaultStore
    device_refusals: DeviceRefusalStore
    memory_plans: MemoryPlanStore
    deaths: DeathStore
    load_requests: LoadRequestStore
    api_keys: ApiKeyStore
    login_failures: LoginFailureStore
    lora_names: LoraStore
    webhooks: WebhookStore
    owners: OwnerStore
    retention: RetentionStore
    periodic_tasks: PeriodicTaskStore
    stats: StatsStore
    status_probes: StatusProbeStore
    images: MediaStore
    notifications: Notifier
    signed_urls: UrlSigner
    pixels: Budget  # of input pictures decoded at a time: 16 bytes each
    batch_slots: ClientSlots  # of batches prepared at a time: each takes tens of megabytes
    sheet_slots: ClientSlots  # of contact sheets drawn at a time
    fetches: threading.BoundedSemaphore  # of input URLs: each blocks a request thread until its host answers

    def close(self) -> None:
        self.database.close()


def open_context(settings: Settings, *, lock_timeout: float | None = None) -> AppContext:
    """Open the database (bringing its schema up to date) and the folders.

    Call it after a fork, never before: database connections must not be shared between processes. Raises
    ConfigurationError for a bad catalogue line or a database of a newer version.
    """
    catalog = tuned_catalog(settings)
    database = Database(settings.database_url, lock_timeout=lock_timeout)
    migrate(database, UpgradeBackups(settings.upgrade_backup_folder, settings.upgrade_backups))
    signed_urls = UrlSigner(database, settings.signed_url_seconds, settings.public_url)
    signed_urls.prepare()
    # The lease outlives the timeout a little, so a job that stops in time ends as `timeout`, not as an expired lease.
    lease, timeout = settings.lease_seconds, settings.job_timeout_seconds + STOP_GRACE_SECONDS
    load = settings.load_timeout_seconds
    return AppContext(
        settings=settings,
        catalog=catalog,
        database=database,
        jobs=JobStore(database, render_webhook=signed_urls.webhook_message),
        claims=ClaimStore(
            database,
            render_webhook=signed_urls.webhook_message,
            lease_seconds=lease,
            timeout_seconds=timeout,
            load_seconds=load,
        ),
        batches=BatchStore(database),
        batch_changes=BatchChangeStore(database),
        batch_progress=BatchProgressStore(database),
        inputs=InputStore(database),
        outputs=OutputStore(database),
        lineage=LineageStore(database),
        selections=SelectionStore(database),
        tags=TagStore(database),
        workers=WorkerStore(database, lease_seconds=lease),
        capabilities=CapabilityStore(database),
        speeds=DurationStore(database),
        previews=PreviewStore(database),
        predictions=PredictionStore(database),
        counters=CounterStore(database),
        device_faults=DeviceFaultStore(database),
        device_refusals=DeviceRefusalStore(database, lease_seconds=lease),
        memory_plans=MemoryPlanStore(database),
        deaths=DeathStore(database, render_webhook=signed_urls.webhook_message),
        load_requests=LoadRequestStore(database),
        api_keys=ApiKeyStore(database),
        login_failures=LoginFailureStore(database),
        lora_names=LoraStore(database),
        webhooks=WebhookStore(database),
        owners=OwnerStore(database),
        retention=RetentionStore(database),
        periodic_tasks=PeriodicTaskStore(database),
        stats=StatsStore(database),
        status_probes=StatusProbeStore(database),
        images=open_media_store(settings),
        notifications=open_notifier(database.url),
        signed_urls=signed_urls,
        pixels=Budget(
            settings.input_max_pixels, most_waiting=settings.server_threads // 2, timeout=PIXELS_TIMEOUT_SECONDS
        ),
        batch_slots=ClientSlots(2),
        sheet_slots=ClientSlots(2),
        fetches=threading.BoundedSemaphore(max(1, settings.server_threads // 4)),
    )
