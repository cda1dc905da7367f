{{- /* The wait at each replica's busiest step, of deploy/observe/rules.yml, summed over this release's replicas. */ -}}
{{- define "crossover.queue" -}}
sum(instance:triton_queue_seconds:max_rate30s{instance=~"{{ .Release.Namespace }}/{{ include "crossover.name" . }}-triton-.+"}) or vector(0)
{{- end }}
