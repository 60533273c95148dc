{{- define "umbra.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "umbra.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "umbra.labels" -}}
{{ include "umbra.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "umbra.secret" -}}
{{ .Values.secret.existing | default (printf "%s-keys" (include "umbra.fullname" .)) }}
{{- end }}

{{/* What cannot work is refused here, not by a pod that does not start. */}}
{{- define "umbra.check" -}}
{{- if and (gt (int .Values.replicas) 1) (or (not .Values.metadata.url) (not .Values.blobs.url)) }}
{{- fail "more than one replica needs metadata.url and blobs.url" }}
{{- end }}
{{- if not .Values.secret.existing }}
{{- if not (regexMatch "^[0-9a-fA-F]{64}$" .Values.secret.masterKey) }}{{ fail "secret.masterKey must be 64 hexadecimal digits, or secret.existing name a secret" }}{{ end }}
{{- if not (and .Values.secret.rootAccessKey .Values.secret.rootSecretKey) }}{{ fail "secret.rootAccessKey and secret.rootSecretKey are needed" }}{{ end }}
{{- end }}
{{- end }}
