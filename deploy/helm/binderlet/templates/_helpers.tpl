{{- define "binderlet.labels" -}}
app.kubernetes.io/name: binderlet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What binderlet gives each session: src/binderlet/engine/kubernetes_spec.py */}}
{{- define "binderlet.sessionLabels" -}}
app.kubernetes.io/name: binderlet
app.kubernetes.io/component: session
binderlet.instance: {{ .Values.instance }}
{{- end }}

{{/* By which control planes find each other: src/binderlet/pair/peers.py */}}
{{- define "binderlet.controlPlaneLabels" -}}
app.kubernetes.io/name: binderlet
app.kubernetes.io/component: control-plane
app.kubernetes.io/instance: {{ .Release.Name }}
binderlet.instance: {{ .Values.instance }}
{{- end }}

{{- define "binderlet.noPrivileges" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "binderlet.policyVersion" -}}
{{- if .Capabilities.APIVersions.Has "policy/v1beta1/PodDisruptionBudget" -}}
{{- if .Capabilities.APIVersions.Has "policy/v1" -}}policy/v1{{- else -}}policy/v1beta1{{- end -}}
{{- else -}}policy/v1{{- end -}}
{{- end }}

{{/* By these the control plane finds its builders: src/binderlet/builder/cluster/choice.py */}}
{{- define "binderlet.builderLabels" -}}
app.kubernetes.io/name: binderlet
app.kubernetes.io/component: builder
binderlet.instance: {{ .Values.instance }}
{{- end }}

{{/* A size such as 30Gi in bytes */}}
{{- define "binderlet.bytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[A-Za-z]+$" . -}}
{{- $factor := get (dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "M" 1000000 "G" 1000000000 "T" 1000000000000) $unit -}}
{{- mul $number $factor -}}
{{- end }}
