{{- /* What the pods of a job, a master and workers have in common. */ -}}
{{- define "crossover.loadPod" -}}
{{ include "crossover.podSecurity" . }}
{{- include "crossover.pull" . }}
{{- include "crossover.place" .Values.load }}
affinity: # a load generator beside a server takes its cores
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "crossover.selector" (dict "root" . "component" "triton") | nindent 14 }}
volumes:
  {{- include "crossover.volumes" . | nindent 2 }}
  - name: reports
    {{- if .Values.load.reportsClaim }}
    persistentVolumeClaim: {claimName: {{ .Values.load.reportsClaim }}}
    {{- else }}
    emptyDir: {sizeLimit: 2Gi}
    {{- end }}
{{- end }}

{{- define "crossover.loadContainer" -}}
image: {{ include "crossover.image" .Values.image }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
workingDir: /crossover
env:
  - {name: HOME, value: /tmp}
securityContext:
  {{- include "crossover.containerSecurity" . | nindent 2 }}
  {{- if .Values.load.sysNice }} # who is not root has it only through the file that runs, python-nice of the image
    add: [SYS_NICE]
  {{- end }}
resources: {{- include "crossover.resources" .Values.load | nindent 2 }}
volumeMounts:
  {{- include "crossover.mounts" . | nindent 2 }}
  - {name: reports, mountPath: /reports}
{{- end }}

{{- define "crossover.loadService" }}
{{- $us := dict "root" . "component" "load" }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "crossover.name" . }}-load
  namespace: {{ .Release.Namespace }}
  labels: {{- include "crossover.labels" $us | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "crossover.selector" $us | nindent 4 }}
    {{- if eq .Values.load.kind "locust" }}
    crossover/role: master
    {{- end }}
  ports:
    {{- if eq .Values.load.kind "locust" }}
    - {name: master, port: 5557, targetPort: master}
    {{- end }}
    - {name: metrics, port: 9646, targetPort: metrics}
{{- end }}

{{- /* The operator sets no command, so its image has another entrypoint: the same tag with -locust. */ -}}
{{- define "crossover.locustImage" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}-locust
{{- end }}
