{{- define "cyberimage.name" -}}
{{- if contains "cyberimage" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-cyberimage" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "cyberimage.selector" -}}
app.kubernetes.io/name: cyberimage
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cyberimage.labels" -}}
{{ include "cyberimage.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "cyberimage.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* A value of `settings`: helm reads numbers of files as floats, and would write a million as 1e+06. */}}
{{- define "cyberimage.value" -}}
{{ if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%d" (int64 .) | quote }}{{ else }}{{ toString . | quote }}{{ end }}
{{- end }}

{{/* Of each pod: an ordinary user, no token of the cluster. */}}
{{- define "cyberimage.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false {{/* its variables would be read as settings, as PORT */}}
serviceAccountName: {{ include "cyberimage.name" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of each container: nothing of its own file system is written. */}}
{{- define "cyberimage.container" -}}
image: {{ include "cyberimage.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
envFrom:
  - configMapRef: { name: {{ include "cyberimage.name" . }} }
  - secretRef: { name: {{ .Values.secret }} }
{{- end }}

{{- define "cyberimage.mounts" -}}
- { name: scratch, mountPath: /tmp, subPath: tmp }
- { name: scratch, mountPath: /data/logs, subPath: logs }
- { name: scratch, mountPath: /data/db, subPath: db }
- { name: scratch, mountPath: /data/cache, subPath: cache }
{{- $media := .Values.media.claim | empty | ternary "scratch" "media" }}
- { name: {{ $media }}, mountPath: /data/images, subPath: images }
- { name: {{ $media }}, mountPath: /data/videos, subPath: videos }
{{- end }}

{{- define "cyberimage.volumes" -}}
- name: scratch
  emptyDir: {}
{{- if .Values.media.claim }}
- name: media
  persistentVolumeClaim: { claimName: {{ .Values.media.claim }} }
{{- end }}
{{- end }}

{{/* Pods start again when the settings change. */}}
{{- define "cyberimage.checksum" -}}
checksum/settings: {{ include (print $.Template.BasePath "/settings.yaml") . | sha256sum }}
{{- end }}
