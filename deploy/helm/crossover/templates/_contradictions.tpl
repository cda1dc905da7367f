{{- /* Values that do not go together end here, each with the remedy in its line. */ -}}
{{- define "crossover.contradictions" -}}
{{- $server := .Values.server -}}
{{- $scaling := .Values.autoscaling -}}
{{- if and (eq $server.engine "nvidia") (lt (int $server.gpus) 1) }}
  {{- fail "server.engine is nvidia and server.gpus is 0: set server.gpus to 1 or more, or server.engine to cpu" }}
{{- end }}
{{- if and (eq $server.engine "cpu") (gt (int $server.gpus) 0) }}
  {{- fail "server.gpus is set and server.engine is cpu: set server.engine to nvidia, or server.gpus to 0" }}
{{- end }}
{{- if and .Values.models.only (not .Values.models.claim) }}
  {{- fail "models.only without models.claim would serve nothing: name the claim of your model repository in models.claim" }}
{{- end }}
{{- if ne $scaling.kind "none" }}
  {{- if gt (int $scaling.min) (int $scaling.max) }}
    {{- fail "autoscaling.min is above autoscaling.max: lower the one or raise the other" }}
  {{- end }}
  {{- if not (and .Values.monitoring.serviceMonitor .Values.monitoring.rules) }}
    {{- fail "autoscaling needs the queue metric: set monitoring.serviceMonitor and monitoring.rules to true" }}
  {{- end }}
{{- end }}
{{- if and (eq $scaling.kind "keda") (not $scaling.prometheus) }}
  {{- fail "autoscaling.kind is keda: set autoscaling.prometheus to the address of Prometheus, as http://prometheus.monitoring:9090" }}
{{- end }}
{{- if and (ne $scaling.kind "keda") $scaling.prometheus }}
  {{- fail "autoscaling.prometheus is for autoscaling.kind keda only: set the kind, or leave the address out" }}
{{- end }}
{{- if eq .Values.load.kind "operator" }}
  {{- if .Values.code.claim }}
    {{- fail "Locust's operator mounts no claim: leave code.claim empty and use an image with the code, or set load.kind to locust" }}
  {{- end }}
  {{- if or .Values.load.sysNice .Values.load.reportsClaim .Values.load.nodeSelector .Values.load.tolerations }}
    {{- fail "Locust's operator knows no load.sysNice, load.reportsClaim, load.nodeSelector or load.tolerations: leave them out, or set load.kind to locust" }}
  {{- end }}
{{- end }}
{{- if gt (len .Release.Name) 40 }}
  {{- fail "the release's name is longer than 40 letters: names that follow from it would be cut" }}
{{- end }}
{{- end }}
