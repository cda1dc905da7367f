{{- define "crossover.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "crossover.selector" -}}
app.kubernetes.io/name: crossover
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "crossover.labels" -}}
{{ include "crossover.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /* An image by its digest where there is one, else by its tag. */ -}}
{{- define "crossover.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "crossover.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "crossover.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Requests equal limits, in whole CPUs: a node with the static CPU manager then gives the pod cores of its own. */ -}}
{{- define "crossover.resources" -}}
requests: {cpu: {{ .cpu | quote }}, memory: {{ .memory }}}
limits: {cpu: {{ .cpu | quote }}, memory: {{ .memory }}}
{{- end }}

{{- /* librosa's compiled resampler stands in the image, and has to stand where it may be written to. */ -}}
{{- define "crossover.compiled" -}}
- name: compiled
  image: {{ include "crossover.image" .Values.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -r, /opt/numba/., /compiled/]
  securityContext: {{- include "crossover.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: "1", memory: 128Mi}
    limits: {cpu: "1", memory: 128Mi}
  volumeMounts:
    - {name: compiled, mountPath: /compiled}
{{- end }}

{{- define "crossover.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: compiled, mountPath: /opt/numba}
{{- if .Values.code.claim }}
- {name: code, mountPath: /crossover, readOnly: true}
{{- end }}
{{- end }}

{{- define "crossover.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
- name: compiled
  emptyDir: {sizeLimit: 256Mi}
{{- with .Values.code.claim }}
- name: code
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "crossover.pull" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "crossover.place" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
