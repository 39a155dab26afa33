"""Ordinals of a StatefulSet: the rules against a small in-memory cluster, the calls against an emulated API server."""

from __future__ import annotations

import asyncio
from typing import Any

import kubernetes.client
import pytest

from pools.choices import EndpointState
from pools.providers.base import ReplicaSpec
from pools.providers.kubernetes import ApiCluster, KubernetesProvider, Pod, Workload
from portal.lib.errors import DomainError

WORKLOAD = Workload("ai", "llama", "llama-pods", port=8000)


class Memory:
    """A cluster of one workload."""

    def __init__(self, replicas: int = 0) -> None:
        self.wanted = replicas
        self.pods: dict[str, Pod] = {}
        self.scaled: list[int] = []
        self.deleted: list[str] = []

    def replicas(self, workload: Workload) -> int:
        return self.wanted

    def scale(self, workload: Workload, replicas: int) -> None:
        self.wanted = replicas
        self.scaled.append(replicas)

    def pod(self, workload: Workload, name: str) -> Pod | None:
        return self.pods.get(name)

    def delete(self, workload: Workload, name: str) -> None:
        self.deleted.append(name)


def spec(ordinal: int) -> ReplicaSpec:
    return ReplicaSpec(name=f"chat-{ordinal}", model="llama", ordinal=ordinal)


def test_starting_twice_scales_once_and_never_down() -> None:
    cluster = Memory()
    provider = KubernetesProvider(WORKLOAD, cluster)
    assert [provider.start(spec(n)) for n in (0, 1, 1, 0)] == ["llama-0", "llama-1", "llama-1", "llama-0"]
    assert cluster.scaled == [1, 2]
    assert provider.list() == ("llama-0", "llama-1")


def test_only_the_highest_is_stopped() -> None:
    cluster = Memory(replicas=3)
    provider = KubernetesProvider(WORKLOAD, cluster)
    with pytest.raises(DomainError, match=r"Drain llama-2 before it\."):
        provider.stop("llama-0")
    for ref in ("llama-2", "llama-2", "llama-7", "other-1", "llama-x"):
        provider.stop(ref)
    assert cluster.scaled == [2]


def test_one_is_replaced_by_deleting_its_pod_whatever_its_number() -> None:
    cluster = Memory(replicas=3)
    provider = KubernetesProvider(WORKLOAD, cluster)
    for ref in ("llama-0", "llama-7", "other-1"):
        provider.replace(ref)
    assert (cluster.deleted, cluster.scaled) == (["llama-0"], [])


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        (None, EndpointState.PENDING),
        (Pod(False, False, ""), EndpointState.STARTING),
        (Pod(False, False, "ContainerCreating"), EndpointState.STARTING),
        (Pod(False, False, "CrashLoopBackOff"), EndpointState.FAILED),
        (Pod(True, False, ""), EndpointState.READY),
        (Pod(True, True, ""), EndpointState.DRAINING),
    ],
)
def test_a_pod_is_seen_as_what_it_is(pod: Pod | None, state: EndpointState) -> None:
    cluster = Memory(replicas=1)
    if pod is not None:
        cluster.pods["llama-0"] = pod
    probe = KubernetesProvider(WORKLOAD, cluster).probe("llama-0")
    assert (probe.state, probe.url) == (state, "http://llama-0.llama-pods.ai.svc:8000")


def test_what_the_workload_does_not_want_is_stopped() -> None:
    provider = KubernetesProvider(WORKLOAD, Memory())
    assert provider.probe("llama-0").state is EndpointState.STOPPED
    assert provider.probe("stranger").state is EndpointState.STOPPED


@pytest.fixture
def provider(kmock: Any) -> KubernetesProvider:
    configuration = kubernetes.client.Configuration()
    configuration.host = str(kmock.url).rstrip("/")
    configuration.retries = 0
    return KubernetesProvider(WORKLOAD, ApiCluster(kubernetes.client.ApiClient(configuration)))


async def test_the_official_client_scales_and_reads_pods(kmock: Any, provider: KubernetesProvider) -> None:
    kmock.objects["apps/v1/statefulsets", "ai", "llama"] = {
        "metadata": {"name": "llama", "namespace": "ai"},
        "spec": {"replicas": 0, "serviceName": "llama-pods"},
    }
    assert await asyncio.to_thread(provider.start, spec(1)) == "llama-1"
    assert kmock.objects["apps/v1/statefulsets", "ai", "llama"]["spec"] == {"replicas": 2, "serviceName": "llama-pods"}
    scaled = [request.url.path for request in kmock if request.method.value == "PATCH"]
    assert scaled == ["/apis/apps/v1/namespaces/ai/statefulsets/llama/scale"]
    kmock.objects["v1/pods", "ai", "llama-1"] = {
        "metadata": {"name": "llama-1", "namespace": "ai"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert (await asyncio.to_thread(provider.probe, "llama-1")).state is EndpointState.READY
    kmock.objects["v1/pods", "ai", "llama-1"] = {
        "metadata": {"name": "llama-1", "namespace": "ai"},
        "status": {
            "containerStatuses": [
                {
                    "name": "vllm", "image": "i", "imageID": "", "ready": False, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff"}},
                }
            ]
        },
    }  # fmt: skip
    probe = await asyncio.to_thread(provider.probe, "llama-1")
    assert (probe.state, probe.detail) == (EndpointState.FAILED, "The pod cannot run: ImagePullBackOff.")
    assert (await asyncio.to_thread(provider.probe, "llama-0")).state is EndpointState.PENDING
    for _ in range(2):  # the second time it is gone already
        await asyncio.to_thread(provider.replace, "llama-1")
    assert (await asyncio.to_thread(provider.probe, "llama-1")).state is EndpointState.PENDING, "to be made anew"
    await asyncio.to_thread(provider.stop, "llama-1")
    assert await asyncio.to_thread(provider.list) == ("llama-0",)


async def test_a_refused_call_is_one_sentence(provider: KubernetesProvider) -> None:
    with pytest.raises(DomainError, match=r"Kubernetes refused a call for ai/llama"):
        await asyncio.to_thread(provider.list)


def test_a_silent_cluster_is_one_sentence() -> None:
    configuration = kubernetes.client.Configuration()
    configuration.host, configuration.retries = "http://127.0.0.1:9", 0
    silent = KubernetesProvider(WORKLOAD, ApiCluster(kubernetes.client.ApiClient(configuration)))
    with pytest.raises(DomainError, match="Kubernetes refused a call"):
        silent.start(spec(0))
