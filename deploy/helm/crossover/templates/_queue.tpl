{{- /* The wait at each replica's busiest step, of deploy/observe/rules.yml, summed over this release's replicas. Idle
replicas have no wait and count as 0; where no replica is scraped there is no value, and autoscalers keep what there is. */ -}}
{{- define "crossover.queue" -}}
{{- $ours := printf `instance=~"%s/%s-triton-.+"` .Release.Namespace (include "crossover.name" .) -}}
sum(instance:triton_queue_seconds:max_rate30s{ {{- $ours -}} }) or 0 * count(up{ {{- $ours -}} } == 1)
{{- end }}
