module edge-tunnel.invalid/backend

go 1.24
