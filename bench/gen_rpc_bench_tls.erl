%% SPDX-License-Identifier: Apache-2.0
%% Certificates and TLS options of a run, the same for whoever is measured.
-module(gen_rpc_bench_tls).

-export([make/2, remove/1, options/2, limit_args/1, suites/0]).

-type t() :: #{directory := file:filename(),
               suite := string(),  % OpenSSL's name
               nodes := [node()]}.
-export_type([t/0]).

-define(CURVE, "x25519").

%% Makes a CA and certificates for these nodes.
-spec make(Suite :: string(), [node()]) -> t().
make(Suite, Nodes) ->
    Directory = filename:join(filename:dirname(code:which(?MODULE)),
                              lists:concat(["certificates_", os:getpid(), "_",
                                            erlang:unique_integer([positive])])),
    Names = [atom_to_list(Node) || Node <- Nodes],
    _ = gen_rpc_bench_os:run(filename:absname("examples/make-certs"), [Directory | Names]),
    #{directory => Directory, suite => Suite, nodes => Nodes}.

-spec remove(t()) -> ok.
remove(#{directory := Directory}) ->
    ok = file:del_dir_r(Directory).

%% For one of the nodes, as gen_rpc and OTP's ssl have them.
-spec options(t(), node()) -> [{atom(), term()}].
options(#{directory := Directory, suite := Suite}, Node) ->
    {Certificate, Key, Authority} = files(Directory, Node),
    [{certfile, Certificate}, {keyfile, Key}, {cacertfile, Authority},
     {versions, ['tlsv1.2']}, {ciphers, [Suite]}].

%% For tls_limit, behind what is to be measured.
-spec limit_args(t()) -> [string()].
limit_args(#{directory := Directory, suite := Suite, nodes := [Node | _]}) ->
    {Certificate, Key, Authority} = files(Directory, Node),
    [Certificate, Key, Authority, maps:get(Suite, names()), ?CURVE].

%% Those that can be asked for.
-spec suites() -> [string()].
suites() ->
    maps:keys(names()).

files(Directory, Node) ->
    Name = atom_to_list(Node),
    {filename:join(Directory, Name ++ ".pem"),
     filename:join(Directory, Name ++ ".key"),
     filename:join(Directory, "ca.pem")}.

%% As OpenSSL and as mbedTLS has them.
names() ->
    #{"ECDHE-ECDSA-AES128-GCM-SHA256" => "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
      "ECDHE-ECDSA-AES256-GCM-SHA384" => "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
      "ECDHE-ECDSA-AES128-CCM" => "TLS-ECDHE-ECDSA-WITH-AES-128-CCM",
      "ECDHE-ECDSA-CHACHA20-POLY1305" => "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256"}.
