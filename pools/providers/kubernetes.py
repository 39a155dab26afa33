"""Replicas as the ordinals of a StatefulSet (or anything with its naming and a scale sub-resource).

Replica n is the pod ``workload-n``, reached through the headless service. Starting raises ``spec.replicas`` to n + 1,
stopping lowers it to n: Kubernetes removes the highest ordinal first, so replicas are drained from the highest down.
A role for ``statefulsets/scale`` and for reading pods is enough; restarting one replica also deletes its pod, which the
StatefulSet then makes anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pools.choices import EndpointState
from pools.providers.base import Probe, ReplicaSpec
from portal.lib.errors import DomainError

TIMEOUT_S = 5.0
HOPELESS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "CrashLoopBackOff", "InvalidImageName", "CreateContainerError"}
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Where the replicas live. ``url`` is a template with {pod}, {service} and {namespace}."""

    namespace: str
    name: str
    service: str
    port: int = 8000
    url: str = "http://{pod}.{service}.{namespace}.svc:{port}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API told it."""

    ready: bool
    terminating: bool
    trouble: str


class Cluster(Protocol):
    """What is needed of a cluster; ``api_cluster`` gives the real one, tests a small one of their own."""

    def replicas(self, workload: Workload) -> int:
        """spec.replicas of the workload."""
        ...

    def scale(self, workload: Workload, replicas: int) -> None:
        """Set spec.replicas through the scale sub-resource."""
        ...

    def pod(self, workload: Workload, name: str) -> Pod | None:
        """One pod, None when there is none."""
        ...

    def delete(self, workload: Workload, name: str) -> None:
        """Delete one pod; one that is gone already is fine."""
        ...


class KubernetesProvider:
    """The replicas of one workload; refs are pod names."""

    fixed_places = True

    def __init__(self, workload: Workload, cluster: Cluster) -> None:
        self.workload, self.cluster = workload, cluster

    def start(self, spec: ReplicaSpec) -> str:
        """Make sure that the workload has at least ordinal + 1 replicas."""
        if self.cluster.replicas(self.workload) <= spec.ordinal:
            self.cluster.scale(self.workload, spec.ordinal + 1)
        return f"{self.workload.name}-{spec.ordinal}"

    def stop(self, ref: str) -> None:
        """Scale down past it. DomainError ``not_last`` when higher ordinals still run: stop those first."""
        ordinal, replicas = self._ordinal(ref), self.cluster.replicas(self.workload)
        if ordinal is None or ordinal >= replicas:
            return
        if ordinal < replicas - 1:
            raise DomainError(
                "not_last",
                f"{ref} cannot be stopped while {self.workload.name} has {replicas} replicas: Kubernetes removes the "
                f"highest first. Drain {self.workload.name}-{replicas - 1} before it.",
                status=409,
            )
        self.cluster.scale(self.workload, ordinal)

    def replace(self, ref: str) -> None:
        """Delete its pod; the workload makes a new one of the same name."""
        ordinal = self._ordinal(ref)
        if ordinal is not None and ordinal < self.cluster.replicas(self.workload):
            self.cluster.delete(self.workload, ref)

    def probe(self, ref: str) -> Probe:
        """From the pod: its Ready condition, its deletion mark, and reasons that waiting does not cure."""
        ordinal = self._ordinal(ref)
        if ordinal is None:
            return Probe(EndpointState.STOPPED, detail=f"{ref} is not a pod of {self.workload.name}.")
        url = self.workload.url.format(
            pod=ref, service=self.workload.service, namespace=self.workload.namespace, port=self.workload.port
        )
        pod = self.cluster.pod(self.workload, ref)
        if pod is None:
            if ordinal >= self.cluster.replicas(self.workload):
                return Probe(EndpointState.STOPPED, url, "There is no such pod.")
            return Probe(EndpointState.PENDING, url, "The pod is not created yet.")
        if pod.terminating:
            return Probe(EndpointState.DRAINING, url, "The pod is terminating.")
        if pod.trouble in HOPELESS:
            return Probe(EndpointState.FAILED, url, f"The pod cannot run: {pod.trouble}.")
        if pod.ready:
            return Probe(EndpointState.READY, url)
        return Probe(EndpointState.STARTING, url, pod.trouble or "The pod is not ready yet.")

    def list(self) -> tuple[str, ...]:
        """The pod names the workload wants."""
        return tuple(f"{self.workload.name}-{number}" for number in range(self.cluster.replicas(self.workload)))

    def _ordinal(self, ref: str) -> int | None:
        name, _dash, number = ref.rpartition("-")
        return int(number) if name == self.workload.name and number.isdecimal() else None


class ApiCluster:
    """A real cluster through the official client. Every call is bounded by 5 s; API errors become DomainErrors."""

    def __init__(self, client: Any) -> None:
        from kubernetes.client import AppsV1Api, CoreV1Api

        self._apps, self._core = AppsV1Api(client), CoreV1Api(client)

    def replicas(self, workload: Workload) -> int:
        """spec.replicas of the workload."""
        scale = self._call(self._apps.read_namespaced_stateful_set_scale, workload, workload.name, workload.namespace)
        return int(scale.spec.replicas or 0)

    def scale(self, workload: Workload, replicas: int) -> None:
        """Set spec.replicas through the scale sub-resource."""
        body = {"spec": {"replicas": replicas}}
        self._call(self._apps.patch_namespaced_stateful_set_scale, workload, workload.name, workload.namespace, body)

    def pod(self, workload: Workload, name: str) -> Pod | None:
        """One pod, None when there is none."""
        from kubernetes.client import ApiException

        try:
            pod = self._core.read_namespaced_pod(name, workload.namespace, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status == 404:
                return None
            raise _refused(workload, error) from error
        status = pod.status
        conditions = (status and status.conditions) or []
        containers = (status and status.container_statuses) or []
        waiting = [state.waiting.reason for one in containers if (state := one.state) and state.waiting]
        return Pod(
            ready=any(condition.type == "Ready" and condition.status == "True" for condition in conditions),
            terminating=pod.metadata is not None and pod.metadata.deletion_timestamp is not None,
            trouble=next((reason for reason in waiting if reason), ""),
        )

    def delete(self, workload: Workload, name: str) -> None:
        """Delete one pod."""
        from kubernetes.client import ApiException

        try:
            self._core.delete_namespaced_pod(name, workload.namespace, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status != 404:
                raise _refused(workload, error) from error

    def _call(self, method: Any, workload: Workload, *arguments: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return method(*arguments, _request_timeout=TIMEOUT_S)
        except (ApiException, HTTPError) as error:
            raise _refused(workload, error) from error


def api_cluster(context: str | None = None) -> ApiCluster:
    """The cluster this process runs in, or that of a kubeconfig context. DomainError when there is neither."""
    from kubernetes import config

    try:
        if context is None:
            config.load_incluster_config()  # type: ignore[no-untyped-call]
            from kubernetes.client import ApiClient

            return ApiCluster(ApiClient())
        return ApiCluster(config.new_client_from_config(context=context))  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise DomainError(
            "cluster_unreachable",
            f"No Kubernetes cluster is configured: {error}. Give a context of a kubeconfig.",
            status=503,
        ) from error


def _refused(workload: Workload, error: Exception) -> DomainError:
    reason = getattr(error, "reason", None) or str(error)
    return DomainError(
        "cluster_refused", f"Kubernetes refused a call for {workload.namespace}/{workload.name}: {reason}.", status=503
    )
