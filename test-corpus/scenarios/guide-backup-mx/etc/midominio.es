# Fichero /etc/bind/midominio.es
 $TTL    86400

@       IN      SOA     root.midominio.es.  hostmaster.midominio.es. (
                               2003073101       ; Serial
                                   86400        ; Refresh  (1 dia)
                                    7200        ; Retry    (2 horas)
                                 2592000        ; Expire   (30 dias)
                                  172800 )      ; Default TTL  (2 dias)

        IN      A       192.168.4.1
        IN      NS      dns1.midominio.es.
        IN      NS      dns2.midominio.es.
        IN      MX      1       correo
        IN      MX      2       correobackup

www             IN      A       192.168.4.2
correo          IN      A       192.168.4.3
correobackup    IN      A       192.168.4.4
dns1            IN      A       192.168.4.1
dns2            IN      A       192.168.4.5
