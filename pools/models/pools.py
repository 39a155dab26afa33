"""Pool: endpoints that serve one model. CapacityProfile: what one replica can carry. Endpoint: one replica."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from pools.choices import EndpointDeed, EndpointState, ScalingMode
from portal.lib.clock import now


class ProviderKind(models.TextChoices):
    """How the pool's endpoints come to be."""

    PROCESS = "process", "Simulated endpoints as local processes"
    STATIC = "static", "Existing endpoints, listed by URL"
    KUBERNETES = "kubernetes", "A Kubernetes workload with a scale sub-resource"


class Pool(models.Model):
    """Shared endpoints of one model, sold as entitlements."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    model_name = models.CharField(max_length=200, unique=True, help_text="What clients put into the model field")
    upstream_model = models.CharField(max_length=200, help_text="What the endpoints call the model")
    provider = models.CharField(max_length=16, choices=ProviderKind.choices, default=ProviderKind.PROCESS)
    provider_config = models.JSONField(default=dict, blank=True)
    min_replicas = models.PositiveIntegerField(default=1)
    max_replicas = models.PositiveIntegerField(default=1)
    wanted_replicas = models.PositiveIntegerField(default=1)
    manual_replicas = models.PositiveIntegerField(null=True, blank=True)
    manual_until = models.DateTimeField(null=True, blank=True)
    manual_reason = models.CharField(max_length=300, blank=True)
    manual_by = models.CharField(max_length=254, blank=True)
    scaling_mode = models.CharField(
        max_length=16,
        choices=[(m.value, m.value.capitalize()) for m in ScalingMode],
        default=ScalingMode.AUTOMATIC.value,
    )
    accelerators_per_replica = models.PositiveIntegerField(default=1)
    oversubscription = models.FloatField(default=1.0, validators=[MinValueValidator(1), MaxValueValidator(10)])
    elastic_share = models.FloatField(default=1.0, validators=[MinValueValidator(0), MaxValueValidator(1)])
    spot_share = models.FloatField(default=0.0, validators=[MinValueValidator(0), MaxValueValidator(1)])
    fill = models.CharField(
        max_length=16, choices=[("dimension", "Per dimension"), ("drf", "Dominant resource")], default="dimension"
    )
    weight_input = models.PositiveIntegerField(default=1)
    weight_output = models.PositiveIntegerField(default=1)
    bytes_per_token = models.FloatField(default=4.0, validators=[MinValueValidator(0.5), MaxValueValidator(32)])
    lease_ms = models.PositiveIntegerField(default=60_000, validators=[MinValueValidator(1000)])
    tokenize = models.BooleanField(default=False, help_text="Ask an endpoint's /tokenize for exact prompt sizes")
    alpha_slo = models.FloatField(default=2.0, validators=[MinValueValidator(0)])
    alpha_burst = models.FloatField(default=1.0, validators=[MinValueValidator(0)])
    alpha_debt = models.FloatField(default=4.0, validators=[MinValueValidator(0)])
    current_profile = models.ForeignKey(
        "CapacityProfile", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(min_replicas__lte=models.F("max_replicas")), name="pool_replicas_order"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CapacityProfile(models.Model):
    """What one replica can carry; versioned and immutable. The last three fields are computed by the mechanism."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="profiles")
    version = models.PositiveIntegerField()
    accelerator = models.CharField(max_length=100, blank=True)
    layers = models.PositiveIntegerField()
    kv_heads = models.PositiveIntegerField()
    head_dim = models.PositiveIntegerField()
    bytes_per_element = models.PositiveIntegerField(default=2)
    block_tokens = models.PositiveIntegerField(default=16)
    num_gpu_blocks = models.PositiveIntegerField()
    max_num_seqs = models.PositiveIntegerField()
    context_length = models.PositiveIntegerField()
    planned_context = models.PositiveIntegerField()
    prefill_tokens_per_second = models.FloatField()
    itl_base_ms = models.FloatField()
    itl_per_sequence_ms = models.FloatField()
    mean_input_tokens = models.FloatField()
    mean_output_tokens = models.FloatField()
    measured_tokens_per_second = models.PositiveIntegerField(null=True, blank=True)
    kv_bytes_per_token = models.BigIntegerField()
    tokens_per_second = models.BigIntegerField()
    kv_bytes = models.BigIntegerField()
    concurrency = models.BigIntegerField()
    author_label = models.CharField(max_length=254, default="system")
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["pool", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["pool", "version"], name="capacityprofile_version_once"),
            models.CheckConstraint(
                condition=models.Q(tokens_per_second__gt=0) & models.Q(kv_bytes__gt=0) & models.Q(concurrency__gt=0),
                name="capacityprofile_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"v{self.version}"


class Endpoint(models.Model):
    """One replica: where it listens, how it is, what it last reported."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=100)
    ordinal = models.PositiveIntegerField(default=0, help_text="Its number among the living endpoints of its pool")
    url = models.CharField(max_length=500, blank=True)
    provider_ref = models.CharField(max_length=500, blank=True)
    state = models.CharField(
        max_length=16, choices=[(s.value, s.value.capitalize()) for s in EndpointState], default="pending"
    )
    state_reason = models.CharField(max_length=300, blank=True)
    state_since = models.DateTimeField(default=now)
    asked = models.CharField(
        max_length=16,
        blank=True,
        choices=[(d.value, d.value.capitalize()) for d in EndpointDeed],
        help_text="What an operator asked for; empty while only the reconciler moves it",
    )
    profile = models.ForeignKey(CapacityProfile, null=True, on_delete=models.PROTECT, related_name="endpoints")
    created_at = models.DateTimeField(default=now, editable=False)
    ready_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    running = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0)
    kv_usage = models.FloatField(default=0.0)
    tokens_per_second = models.FloatField(default=0.0)
    generation_tokens_total = models.BigIntegerField(default=0)
    scraped_at = models.DateTimeField(null=True, blank=True)
    missed_scrapes = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["pool", "id"]
        constraints = [models.UniqueConstraint(fields=["pool", "name"], name="endpoint_name_once")]
        indexes = [models.Index(fields=["pool", "state"], name="endpoint_by_state")]

    def __str__(self) -> str:
        return self.name
