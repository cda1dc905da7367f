{{- /* One connection to a Service sticks to one pod, so requests are spread here, each by itself: HTTP/1.1 with keep-alive
and gRPC, whose requests are streams of one HTTP/2 connection. */ -}}
{{- define "crossover.haproxy" -}}
{{- $replicas := int .Values.server.replicas -}}
{{- if ne .Values.autoscaling.kind "none" }}{{ $replicas = int .Values.autoscaling.max }}{{ end -}}
{{- $slots := mul 2 (add 1 $replicas) -}}
{{- $triton := printf "%s-triton.%s.svc.%s" (include "crossover.name" .) .Release.Namespace .Values.proxy.clusterDomain -}}
global
    log stdout format raw local0 notice
    maxconn 8192

resolvers cluster
    parse-resolv-conf
    accepted_payload_size 8192
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s
    hold nx 5s
    hold obsolete 0s

defaults
    mode http
    log global
    timeout connect 5s
    timeout client 5m
    timeout server 5m
    timeout http-keep-alive 5m
    retries 2
    option redispatch 1
    balance {{ .Values.proxy.balance }}
    option httpchk
    http-check send meth GET uri /v2/health/ready
    http-check expect status 200
    default-server check inter 2s fall 2 rise 1 resolvers cluster init-addr none on-marked-down shutdown-sessions

frontend http
    bind :8000
    # The wheel's Triton takes [32, 2**59] for a tensor of 0 bytes, and the model's process dies of it. So requests with
    # an integer of ten digits or more in their JSON are denied, as is JSON that does not fit into the buffer with the
    # headers. What follows the JSON is not looked at; a body that is a file alone has none, but
    # only `infer` takes a body for a file.
    acl asks method POST
    acl manages path_beg /v2/repository/
    acl file_alone req.fhdr(inference-header-content-length) -m str 0
    acl infers path_reg ^/v2/models/[^/]+(/versions/[0-9]+)?/infer$
    acl two_lengths req.fhdr_cnt(inference-header-content-length) gt 1
    acl compressed req.fhdr_cnt(content-encoding) gt 0
    acl small_numbers req.body -m reg '^\s*+(?=\{)(?<value>[[{](?:[^][{}"0-9.]++|"(?:[^"\\]++|\\.)*+"|\.[0-9]*+|[0-9]{1,9}+(?![0-9])|(?&value))*+[]}])'
    # Asked for the classes of a text, as a model's transcript is, it divides by zero and ends. So only models of numbers
    # are asked for classes.
    acl no_classes req.body -m reg '^\s*+(?=\{)(?<value>[[{](?:[^][{}"]++|"(?!(?:c|\\u0063)(?:l|\\u006[cC])(?:a|\\u0061)(?:s|\\u0073)(?:s|\\u0073)(?:i|\\u0069)(?:f|\\u0066)(?:i|\\u0069)(?:c|\\u0063)(?:a|\\u0061)(?:t|\\u0074)(?:i|\\u0069)(?:o|\\u006[fF])(?:n|\\u006[eE])")(?:[^"\\]++|\\.)*+"|(?&value))*+[]}])'
    acl has_classes path_reg ^/v2/models/(image|resnet50)(/versions/[0-9]+)?/infer$
    # Of `gzip;q=1e400` it dies, too: what is no list of names with weights of three decimals is not passed on.
    acl weights req.fhdr(accept-encoding) -m reg '^(?:[a-z*]++(?:;q=[01](?:\.[0-9]{0,3})?)?(?:, ?|$))++$'
    acl many_weights req.fhdr_cnt(accept-encoding) gt 1
    http-request del-header accept-encoding if !weights or many_weights
    http-request return status 400 content-type application/json string '{"error":"the proxy takes no compressed requests, and one Inference-Header-Content-Length"}' if asks !manages compressed or asks !manages two_lengths
    http-request wait-for-body time 10s at-least 8192 if asks !manages !file_alone or asks !manages !infers
    http-request return status 400 content-type application/json string '{"error":"the proxy takes JSON of 8 KiB at most before binary data, with no integer of ten digits or more"}' if asks !manages !file_alone !small_numbers or asks !manages !infers !small_numbers
    http-request return status 400 content-type application/json string '{"error":"the proxy takes classification for the models image and resnet50 only"}' if asks !manages !file_alone !no_classes !has_classes or asks !manages !infers !no_classes
    default_backend http

backend http
    server-template pod 1-{{ $slots }} {{ $triton }}:8000

frontend grpc
    bind :8001 proto h2
    default_backend grpc

backend grpc
    # Here and not on the line of the servers: HAProxy gives a check-proto there to the first of a template alone.
    http-check connect port 8000 proto h1
    http-check send meth GET uri /v2/health/ready
    http-check expect status 200
    server-template pod 1-{{ $slots }} {{ $triton }}:8001 proto h2

frontend metrics
    bind :8404
    http-request use-service prometheus-exporter if { path /metrics }
    monitor-uri /alive
    http-request return status 503 unless { nbsrv(http) gt 0 }
    http-request return status 200 if { path /ready }
{{ end }}
