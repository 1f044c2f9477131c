%% SPDX-License-Identifier: Apache-2.0
%% @doc The settings: names, defaults, what is allowed. Read and checked at start and when asked to,
%% and kept as a persistent term, so that reading one costs a caller no copy and no message.
%% What each of them means is in <a href="SETTINGS.html">Settings</a>.
-module(gen_rpc_config).

-export([load/1, reload/1, unload/0, get/1, generation/0, policy/0, format/1]).
-export([cookie/0, connection/1, listening/0, half_open/0, handshakes/0]).
-export([target/1, target/2, is_way/1, uses/1, discovers/1]).
-export([fixed/0]).

-define(KEY, ?MODULE).

-define(MAX_TIMEOUT, 16#FFFFFFFE). % the driver keeps times as 32-bit milliseconds
-define(MAX_COOKIE, 1020). % an atom: 255 characters of at most 4 bytes
-define(MIB, (1024 * 1024)).
-define(ANY_IPV4, {0, 0, 0, 0}).
-define(HANDSHAKES, 8). % at once, unless it is set: some thousand a second

-define(IS_TLS(Setting), (Setting =:= ssl_server_options orelse Setting =:= ssl_client_options)).

%% The value of a cookie is shown as `hidden'.
-type reason() :: {invalid_setting, atom(), Value :: term(), Allowed :: string()}
                | {unknown_setting, atom(), Known :: [atom()]}
                | {restart_needed, [atom()]}
                | {conflicting_settings, [{atom(), Value :: term()}], Why :: string()}
                | {no_port, node(), TooHigh :: pos_integer()}
                | gen_rpc_tls_options:reason().
-type driver() :: tcp | ssl.
-type way() :: {driver(), inet:port_number()} | inet:port_number() | driver().
-type generation() :: integer(). % differs each time that settings come into force
-export_type([reason/0, driver/0, way/0, generation/0]).

%% Key, default, check, what is allowed in words.
settings() ->
    [{tcp_server_port, 5369, fun is_server_port/1, "0..65535 or false (0: any free port)"},
     {tcp_client_port, 5369, fun is_port_number/1, "1..65535"},
     {ssl_server_port, false, fun is_server_port/1, "0..65535 or false (0: any free port)"},
     {ssl_client_port, 5370, fun is_port_number/1, "1..65535"},
     %% What is in them is gen_rpc_tls_options' to say.
     {ssl_server_options, [], fun(_) -> true end, ""},
     {ssl_client_options, [], fun(_) -> true end, ""},
     {default_client_driver, tcp, fun is_driver/1, "tcp or ssl"},
     {client_config_per_node, {internal, #{}}, fun is_client_config/1,
      "{internal, #{Node => Driver | Port | {Driver, Port}}}, Driver tcp or ssl, Port in 1..65535, "
      "or {external, Module}, or {Module, Function}"},
     {port_discovery, manual, fun is_discovery/1, "manual or stateless"},
     integer(source_cache_ttl, 5000, 0, ?MAX_TIMEOUT, "milliseconds"),
     {register_with_epmd, false, fun is_boolean/1, "true or false"},
     {secret_cookie, undefined, fun is_cookie/1,
      "an atom, a string or a binary of 1..1020 bytes, or undefined for the node's cookie"},
     timeout(connect_timeout, 5000),
     %% So that a node that is back is found soon, and 200 that look for it cost it nothing.
     integer(reconnect_backoff_max, 2000, 0, ?MAX_TIMEOUT, "milliseconds"),
     timeout(authentication_timeout, 5000),
     timeout(send_timeout, 5000),
     timeout(call_receive_timeout, 15000),
     timeout(sbcast_receive_timeout, 15000),
     timeout(client_inactivity_timeout, infinity),
     timeout(server_inactivity_timeout, infinity),
     timeout(async_call_inactivity_timeout, infinity),
     {socket_ip, ?ANY_IPV4, fun inet:is_ip_address/1,
      "an IPv4 or IPv6 address as a tuple, such as {0,0,0,0} or {0,0,0,0,0,0,0,0}"},
     {ipv6_only, false, fun is_boolean/1, "true or false"},
     bytes(socket_sndbuf),
     bytes(socket_recbuf),
     bytes(socket_buffer),
     integer(socket_keepalive_idle, 5, 1, 32767, "seconds"),
     integer(socket_keepalive_interval, 5, 1, 32767, "seconds"),
     integer(socket_keepalive_count, 2, 1, 127, "probes"),
     integer(keepalive_interval, 60, 1, 4294967, "seconds"),
     integer(max_message_size, 512 * ?MIB, 1024, 16#FFFFFFFF, "bytes"),
     %% Several times what a socket takes at once, so that it never starves, and little beside one large
     %% message.
     integer(output_limit, 4 * ?MIB, 1024, 16#FFFFFFFF, "bytes"),
     integer(max_connections, 10000, 1, 16#FFFFFFFF, "connections"),
     %% So few that the TLS handshakes of them all can be done within authentication_timeout.
     integer(max_half_open, 2000, 1, 16#FFFFFFFF, "connections"),
     integer(max_half_open_per_address, 500, 1, 16#FFFFFFFF, "connections"),
     {max_handshakes, undefined, fun is_handshakes/1, "1..64, or undefined"},
     {max_concurrent_calls, infinity, fun is_concurrency/1, "calls and casts, 1..4294967295, or "
      "infinity"},
     {cast_overload_policy, block, fun is_policy/1, "block, drop or error"},
     {kill_on_cancel, false, fun is_boolean/1, "true or false"},
     {rpc_module_control, disabled, fun is_module_control/1, "disabled, whitelist or blacklist"},
     {rpc_module_list, [], fun is_list_of_atoms/1, "a list of atoms, the names of modules"},
     {fun_code_shipping, false, fun is_boolean/1, "true or false"},
     integer(compress, 0, 0, 9, "level"),
     integer(compression_threshold, 1024, 1, 16#FFFFFFFF, "bytes"),
     {compress_context, false, fun is_boolean/1, "true or false"}].

timeout(Key, Default) ->
    {Key, Default, fun is_timeout/1, "milliseconds (1..4294967294) or infinity"}.

integer(Key, Default, Min, Max, Unit) ->
    {Key, Default,
     fun(V) -> is_integer(V) andalso V >= Min andalso V =< Max end,
     lists:flatten(io_lib:format("~s, ~b..~b", [Unit, Min, Max]))}.

bytes(Key) ->
    {Key, undefined, fun is_size/1, "bytes (1..2147483647) or undefined"}.

%% What a running application does not look at again: its sockets are open, its files are read.
%% @private
-spec fixed() -> [atom()].
fixed() ->
    [tcp_server_port, ssl_server_port, ssl_server_options, ssl_client_options, max_connections,
     max_half_open, max_half_open_per_address, max_handshakes, socket_ip, ipv6_only, port_discovery,
     register_with_epmd].

%% Checks the application's environment and makes it the settings in force.
%% @private
-spec load([{atom(), term()}]) -> ok | {error, reason()}.
load(Env) ->
    case check(Env) of
        {ok, Checked} -> in_force(Checked);
        Error -> Error
    end.

%% The same, of an application that runs.
%% @private
-spec reload([{atom(), term()}]) -> ok | {error, reason()}.
reload(Env) ->
    case check(Env) of
        {ok, Checked} ->
            case [Key || Key <- fixed(), map_get(Key, Checked) =/= ?MODULE:get(Key)] of
                [] -> in_force(Checked);
                Changed -> {error, {restart_needed, Changed}}
            end;
        Error ->
            Error
    end.

in_force(#{rpc_module_control := Control, rpc_module_list := Modules} = Checked) ->
    persistent_term:put(?KEY, Checked#{module_policy => gen_rpc_policy:new(Control, Modules),
                                       generation => erlang:unique_integer()}).

check(Env) ->
    Settings = settings(),
    Given = maps:remove(included_applications, maps:from_list(Env)),
    case maps:keys(maps:without([Key || {Key, _, _, _} <- Settings], Given)) of
        [] ->
            check(Settings, Given, #{});
        [Unknown | _] ->
            {error, {unknown_setting, Unknown, lists:sort([Key || {Key, _, _, _} <- Settings])}}
    end.

check([{Key, Default, Check, Allowed} | Rest], Given, Acc) ->
    Value = maps:get(Key, Given, Default),
    case Check(Value) of
        true -> check(Rest, Given, Acc#{Key => Value});
        false when Key =:= secret_cookie -> {error, {invalid_setting, Key, hidden, Allowed}};
        false -> {error, {invalid_setting, Key, Value, Allowed}}
    end;
check([], Given, Acc) ->
    case check_address(Acc) of
        ok -> check_discovered(discover(Given, Acc));
        Error -> Error
    end.

check_discovered({ok, Acc}) ->
    case check_tls([{client, uses(ssl, Acc)},
                    {server, maps:get(ssl_server_port, Acc) =/= false}], Acc) of
        ok -> {ok, Acc};
        Error -> Error
    end;
check_discovered(Error) ->
    Error.

check_address(#{ipv6_only := true, socket_ip := Ip}) when tuple_size(Ip) =:= 4, Ip =/= ?ANY_IPV4 ->
    {error, {conflicting_settings, [{ipv6_only, true}, {socket_ip, Ip}],
             "nothing comes over IPv6 to an IPv4 address"}};
check_address(_Acc) ->
    ok.

%% Puts the port that this node's name stands for in the place of the one in the settings. A server
%% that is switched off stays so, but not one that is off because nobody has said anything.
discover(Given, #{port_discovery := stateless, default_client_driver := Driver} = Acc) ->
    Key = server_port(Driver),
    case {Given, gen_rpc_discovery:port(node())} of
        {#{Key := false}, _} -> {ok, Acc};
        {#{}, {ok, Port}} -> {ok, Acc#{Key := Port}};
        {#{}, {too_high, Port}} -> {error, {no_port, node(), Port}}
    end;
discover(_Given, Acc) ->
    {ok, Acc}.

%% Options of TLS are checked if they are needed or given.
check_tls([{Role, Needed} | Rest], Acc) ->
    case maps:get(gen_rpc_tls_options:setting(Role), Acc) of
        [] when not Needed ->
            check_tls(Rest, Acc);
        Options ->
            case gen_rpc_tls_options:check(Role, Options) of
                {ok, _} -> check_tls(Rest, Acc);
                Error -> Error
            end
    end;
check_tls([], _Acc) ->
    ok.

%% @private
-spec unload() -> ok.
unload() ->
    _ = persistent_term:erase(?KEY),
    ok.

%% @doc A setting's value; its default while the application does not run.
-spec get(atom()) -> term().
get(Key) ->
    case persistent_term:get(?KEY, #{}) of
        #{Key := Value} -> Value;
        #{} -> element(2, lists:keyfind(Key, 1, settings()))
    end.

%% Which settings are in force.
%% @private
-spec generation() -> generation().
generation() ->
    case persistent_term:get(?KEY, #{}) of
        #{generation := Generation} -> Generation;
        #{} -> 0
    end.

%% What may run here.
%% @private
-spec policy() -> gen_rpc_policy:t().
policy() ->
    case persistent_term:get(?KEY, #{}) of
        #{module_policy := Policy} -> Policy;
        #{} -> disabled
    end.

%% @doc In words, why a start or {@link gen_rpc:reconfigure/0} has refused the settings.
-spec format(reason()) -> string().
format({_, {Setting, _}, _} = Reason) when ?IS_TLS(Setting) ->
    gen_rpc_tls_options:format(Reason);
format({_, {Setting, _}, _, _} = Reason) when ?IS_TLS(Setting) ->
    gen_rpc_tls_options:format(Reason);
format({invalid_setting, Key, Value, Allowed}) ->
    lists:flatten(io_lib:format("~s is ~0tp, must be ~s", [Key, Value, Allowed]));
format({restart_needed, Keys}) ->
    Names = lists:join(", ", [atom_to_list(Key) || Key <- Keys]),
    lists:flatten(io_lib:format("changed, but read at start only: ~s", [Names]));
format({conflicting_settings, Settings, Why}) ->
    Parts = [io_lib:format("~s is ~0tp", [Key, Value]) || {Key, Value} <- Settings],
    lists:flatten([lists:join(" and ", Parts), ": ", Why]);
format({no_port, Node, TooHigh}) ->
    lists:flatten(io_lib:format("port_discovery is stateless, so ~0tp would listen on port ~b, and "
                                "the last one is 65535", [Node, TooHigh]));
format({unknown_setting, Key, Known}) ->
    Names = lists:join(", ", [atom_to_list(K) || K <- Known]),
    lists:flatten(io_lib:format("unknown setting ~0tp; the settings are ~s", [Key, Names])).

%% The cookie that both sides of a connection must know. A node without one proves nothing.
%% @private
-spec cookie() -> {ok, binary()} | none.
cookie() ->
    case ?MODULE:get(secret_cookie) of
        undefined ->
            case erlang:get_cookie() of
                nocookie -> none;
                Cookie -> {ok, atom_to_binary(Cookie)}
            end;
        Cookie ->
            {ok, cookie_bytes(Cookie)}
    end.

%% Settings of one connection as the driver takes them; `none' without a cookie.
%% @private
-spec connection(client | server) -> {ok, gen_rpc_port:connection()} | none.
connection(Role) ->
    case cookie() of
        {ok, Cookie} -> {ok, connection(Role, Cookie)};
        none -> none
    end.

connection(Role, Cookie) ->
    Idle = case Role of
               client -> client_inactivity_timeout;
               server -> server_inactivity_timeout
           end,
    {MaxRunning, TellCancels} = workers(Role),
    #{name => atom_to_binary(node()),
      cookie => Cookie,
      authentication_timeout => ?MODULE:get(authentication_timeout),
      send_timeout => ?MODULE:get(send_timeout),
      keepalive_interval => 1000 * ?MODULE:get(keepalive_interval),
      idle_timeout => ?MODULE:get(Idle),
      output_limit => ?MODULE:get(output_limit),
      max_message_size => ?MODULE:get(max_message_size),
      max_running => MaxRunning,
      tell_cancels => TellCancels,
      compress => ?MODULE:get(compress),
      compress_context => ?MODULE:get(compress_context),
      compression_threshold => ?MODULE:get(compression_threshold),
      socket => socket_options(),
      socket_buffer => ?MODULE:get(socket_buffer),
      socket_keepalive => {?MODULE:get(socket_keepalive_idle),
                           ?MODULE:get(socket_keepalive_interval),
                           ?MODULE:get(socket_keepalive_count)}}.

socket_options() ->
    #{ipv6_only => ?MODULE:get(ipv6_only),
      sndbuf => ?MODULE:get(socket_sndbuf),
      recbuf => ?MODULE:get(socket_recbuf)}.

%% Where listeners listen, and how.
%% @private
-spec listening() -> {inet:ip_address(), gen_rpc_port:listening()}.
listening() ->
    {listening_ip(?MODULE:get(ipv6_only), ?MODULE:get(socket_ip)),
     #{max_connections => ?MODULE:get(max_connections), socket => socket_options()}}.

listening_ip(true, ?ANY_IPV4) -> {0, 0, 0, 0, 0, 0, 0, 0};
listening_ip(_Ipv6Only, Ip) -> Ip.

%% How many connections may be in their handshake on one listening port.
%% @private
-spec half_open() -> gen_rpc_half_open:limits().
half_open() ->
    maps:from_list([{Key, ?MODULE:get(Key)} || Key <- [max_half_open, max_half_open_per_address]]).

%% How many TLS handshakes are computed at once. More than there are schedulers would only take time
%% from these.
%% @private
-spec handshakes() -> 1..64.
handshakes() ->
    case ?MODULE:get(max_handshakes) of
        undefined -> min(erlang:system_info(schedulers), ?HANDSHAKES);
        Max -> Max
    end.

%% Only the side that accepts has workers.
workers(client) -> {infinity, false};
workers(server) -> {?MODULE:get(max_concurrent_calls), ?MODULE:get(kill_on_cancel)}.

%% How to reach a node, if no source is asked.
%% @private
-spec target(node()) -> {driver(), inet:port_number()} | {error, port_over_65535}.
target(Node) ->
    {internal, PerNode} = ?MODULE:get(client_config_per_node),
    case PerNode of
        #{Node := Way} -> target(Node, Way);
        #{} -> target(Node, ?MODULE:get(default_client_driver))
    end.

%% What a way to a node leaves out is the default.
%% @private
-spec target(node(), way()) -> {driver(), inet:port_number()} | {error, port_over_65535}.
target(_Node, {Driver, Port}) -> {Driver, Port};
target(_Node, Port) when is_integer(Port) -> {?MODULE:get(default_client_driver), Port};
target(Node, Driver) -> default_target(Driver, Node).

default_target(Driver, Node) ->
    case discovers(Driver) andalso gen_rpc_discovery:port(Node) of
        false -> {Driver, client_port(Driver)};
        {ok, Port} -> {Driver, Port};
        {too_high, _Port} -> {error, port_over_65535}
    end.

client_port(tcp) -> ?MODULE:get(tcp_client_port);
client_port(ssl) -> ?MODULE:get(ssl_client_port).

server_port(tcp) -> tcp_server_port;
server_port(ssl) -> ssl_server_port.

%% Whether the ports of nodes that are reached by this driver follow from their names.
%% @private
-spec discovers(driver()) -> boolean().
discovers(Driver) ->
    ?MODULE:get(port_discovery) =:= stateless
        andalso ?MODULE:get(default_client_driver) =:= Driver.

%% Whether a node may be called by this driver, as far as the settings say: a source may name any.
%% @private
-spec uses(driver()) -> boolean().
uses(Driver) ->
    uses(Driver, maps:from_list([{Key, ?MODULE:get(Key)}
                                 || Key <- [default_client_driver, client_config_per_node]])).

uses(Driver, #{default_client_driver := Default, client_config_per_node := {internal, PerNode}}) ->
    Default =:= Driver orelse
        lists:any(fun(How) -> How =:= Driver orelse (is_tuple(How) andalso element(1, How) =:= Driver)
                  end, maps:values(PerNode));
uses(Driver, #{default_client_driver := Default}) ->
    Default =:= Driver.

%%% Checks

is_timeout(infinity) -> true;
is_timeout(V) -> is_integer(V) andalso V >= 1 andalso V =< ?MAX_TIMEOUT.

is_port_number(V) -> is_integer(V) andalso V >= 1 andalso V =< 65535.

is_server_port(false) -> true;
is_server_port(0) -> true;
is_server_port(V) -> is_port_number(V).

is_client_config({internal, PerNode}) when is_map(PerNode) ->
    lists:all(fun({Node, Way}) -> is_atom(Node) andalso is_way(Way) end, maps:to_list(PerNode));
is_client_config({Module, Function}) ->
    %% Not whether there is such a function: its application may start after this one.
    Module =/= internal andalso is_atom(Module) andalso is_atom(Function);
is_client_config(_) ->
    false.

%% @private
-spec is_way(term()) -> boolean().
is_way({Driver, Port}) -> is_driver(Driver) andalso is_port_number(Port);
is_way(Way) -> is_driver(Way) orelse is_port_number(Way).

is_concurrency(infinity) -> true;
is_concurrency(V) -> is_integer(V) andalso V >= 1 andalso V =< 16#FFFFFFFF.

is_handshakes(undefined) -> true;
is_handshakes(V) -> is_integer(V) andalso V >= 1 andalso V =< 64.

is_module_control(V) -> V =:= disabled orelse V =:= whitelist orelse V =:= blacklist.

is_list_of_atoms([Atom | Rest]) -> is_atom(Atom) andalso is_list_of_atoms(Rest);
is_list_of_atoms(V) -> V =:= [].

is_policy(V) -> V =:= block orelse V =:= drop orelse V =:= error.

is_discovery(V) -> V =:= manual orelse V =:= stateless.

is_size(undefined) -> true;
is_size(V) -> is_integer(V) andalso V >= 1 andalso V =< 16#7FFFFFFF.

is_driver(V) -> V =:= tcp orelse V =:= ssl.

is_cookie(undefined) ->
    true;
is_cookie(Cookie) ->
    try byte_size(cookie_bytes(Cookie)) of
        N -> N >= 1 andalso N =< ?MAX_COOKIE
    catch
        error:_ -> false
    end.

cookie_bytes(Cookie) when is_atom(Cookie) -> atom_to_binary(Cookie);
cookie_bytes(Cookie) when is_binary(Cookie) -> Cookie;
cookie_bytes(Cookie) -> <<_/binary>> = unicode:characters_to_binary(Cookie).
