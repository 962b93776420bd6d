//! The top-level fields of `KubeletConfiguration`, `kubelet.config.k8s.io/v1beta1`. What they hold is left to the kubelet.
//!
//! Source: `k8s.io/kubelet/config/v1beta1/types.go` of Kubernetes 1.36. Earlier kubelets know fewer and warn of the rest.

use super::{
    API_VERSION, Field, KIND,
    Shape::{Open, Owned},
    f,
};

/// `KubeletConfiguration`.
#[rustfmt::skip]
pub(in crate::kubeadm::config) const KUBELET: &[Field] = &[
    API_VERSION,
    KIND,
    f("providerID", Owned("it differs from node to node, and is set from the node's record")),
    f("address", Open), f("allowedUnsafeSysctls", Open), f("authentication", Open), f("authorization", Open),
    f("cgroupDriver", Open), f("cgroupRoot", Open), f("cgroupsPerQOS", Open), f("clusterDNS", Open),
    f("clusterDomain", Open), f("configMapAndSecretChangeDetectionStrategy", Open), f("containerLogMaxFiles", Open),
    f("containerLogMaxSize", Open), f("containerLogMaxWorkers", Open), f("containerLogMonitorInterval", Open),
    f("containerRuntimeEndpoint", Open), f("contentType", Open), f("cpuCFSQuota", Open), f("cpuCFSQuotaPeriod", Open),
    f("cpuManagerPolicy", Open), f("cpuManagerPolicyOptions", Open), f("cpuManagerReconcilePeriod", Open),
    f("crashLoopBackOff", Open), f("enableContentionProfiling", Open), f("enableControllerAttachDetach", Open),
    f("enableDebugFlagsHandler", Open), f("enableDebuggingHandlers", Open), f("enableProfilingHandler", Open),
    f("enableServer", Open), f("enableSystemLogHandler", Open), f("enableSystemLogQuery", Open),
    f("enforceNodeAllocatable", Open), f("eventBurst", Open), f("eventRecordQPS", Open), f("evictionHard", Open),
    f("evictionMaxPodGracePeriod", Open), f("evictionMinimumReclaim", Open),
    f("evictionPressureTransitionPeriod", Open), f("evictionSoft", Open), f("evictionSoftGracePeriod", Open),
    f("failCgroupV1", Open), f("failSwapOn", Open), f("featureGates", Open), f("fileCheckFrequency", Open),
    f("hairpinMode", Open), f("healthzBindAddress", Open), f("healthzPort", Open), f("httpCheckFrequency", Open),
    f("imageGCHighThresholdPercent", Open), f("imageGCLowThresholdPercent", Open), f("imageMaximumGCAge", Open),
    f("imageMinimumGCAge", Open), f("imagePullCredentialsVerificationPolicy", Open), f("imageServiceEndpoint", Open),
    f("iptablesDropBit", Open), f("iptablesMasqueradeBit", Open), f("kernelMemcgNotification", Open),
    f("kubeAPIBurst", Open), f("kubeAPIQPS", Open), f("kubeReserved", Open), f("kubeReservedCgroup", Open),
    f("kubeletCgroups", Open), f("localStorageCapacityIsolation", Open), f("logging", Open),
    f("makeIPTablesUtilChains", Open), f("maxOpenFiles", Open), f("maxParallelImagePulls", Open), f("maxPods", Open),
    f("memoryManagerPolicy", Open), f("memoryReservationPolicy", Open), f("memorySwap", Open),
    f("memoryThrottlingFactor", Open), f("mergeDefaultEvictionSettings", Open), f("nodeLeaseDurationSeconds", Open),
    f("nodeStatusMaxImages", Open), f("nodeStatusReportFrequency", Open), f("nodeStatusUpdateFrequency", Open),
    f("oomScoreAdj", Open), f("podCIDR", Open), f("podLogsDir", Open), f("podPidsLimit", Open),
    f("podsPerCore", Open), f("port", Open), f("preloadedImagesVerificationAllowlist", Open),
    f("protectKernelDefaults", Open), f("qosReserved", Open), f("readOnlyPort", Open), f("registerNode", Open),
    f("registerWithTaints", Open), f("registryBurst", Open), f("registryPullQPS", Open), f("reservedMemory", Open),
    f("reservedSystemCPUs", Open), f("resolvConf", Open), f("rotateCertificates", Open), f("runOnce", Open),
    f("runtimeRequestTimeout", Open), f("seccompDefault", Open), f("serializeImagePulls", Open),
    f("serverTLSBootstrap", Open), f("showHiddenMetricsForVersion", Open), f("shutdownGracePeriod", Open),
    f("shutdownGracePeriodByPodPriority", Open), f("shutdownGracePeriodCriticalPods", Open),
    f("singleProcessOOMKill", Open), f("staticPodPath", Open), f("staticPodURL", Open), f("staticPodURLHeader", Open),
    f("streamingConnectionIdleTimeout", Open), f("syncFrequency", Open), f("systemCgroups", Open),
    f("systemReserved", Open), f("systemReservedCgroup", Open), f("tlsCertFile", Open), f("tlsCipherSuites", Open),
    f("tlsCurvePreferences", Open), f("tlsMinVersion", Open), f("tlsPrivateKeyFile", Open),
    f("topologyManagerPolicy", Open), f("topologyManagerPolicyOptions", Open), f("topologyManagerScope", Open),
    f("tracing", Open), f("userNamespaces", Open), f("volumePluginDir", Open), f("volumeStatsAggPeriod", Open),
];
